import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from framehook import ModelError, OutputError
from framehook_plugins.agegender import checkpoint


def rewrite(path, change):
    """Change a file's metadata and tensors, two dictionaries, in place."""
    with safe_open(path, framework="pt") as file:
        metadata, tensors = dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(metadata, tensors)
    save_file(tensors, path, metadata=metadata)


def test_what_is_written_is_read_back(small_header, small_network, architecture, tmp_path):
    header = small_header(architecture)
    network = small_network(header)
    path = tmp_path / "model.safetensors"

    checkpoint.write(path, network, header)
    back, said = checkpoint.read(path)

    assert said == checkpoint.read_header(path) == header
    assert not back.training
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in back.parameters())
    state = back.state_dict()
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(state[name], tensor.half().float() if tensor.ndim > 1 else tensor, rtol=0, atol=0)


def test_a_network_that_is_rounded_is_what_is_read_back(tmp_path, small_header, small_network):
    header = small_header("resnet18")
    network = small_network(header)
    checkpoint.write(tmp_path / "a.safetensors", network, header)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    checkpoint.round_as_stored(network)

    read, _ = checkpoint.read(tmp_path / "a.safetensors")
    after = network.state_dict()
    held = {name: tensor for name, tensor in read.state_dict().items() if tensor.is_floating_point()}  # all but counters
    assert all(torch.equal(tensor, after[name]) for name, tensor in held.items())
    assert any(not torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_the_same_weights_are_the_same_bytes(tmp_path, small_header, small_network):
    header = small_header("resnet18")
    network = small_network(header)
    for i in range(4):
        checkpoint.write(tmp_path / f"{i}.safetensors", network, header)

    assert len({(tmp_path / f"{i}.safetensors").read_bytes() for i in range(4)}) == 1


def test_reading_does_not_load_the_compiler_of_torch(weights):
    code = (
        "import sys, torch; from pathlib import Path; before = 'sympy' in sys.modules; "
        "from framehook_plugins.agegender import checkpoint; checkpoint.read(Path(sys.argv[1])); "
        "print('sympy' in sys.modules and not before)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(weights)], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "False"


def test_filters_take_two_bytes_and_variances_keep_their_range(weights):
    with safe_open(weights, framework="pt") as file:
        assert file.get_tensor("stem.0.weight").dtype == torch.float16
        assert file.get_tensor("stem.1.running_var").dtype == torch.float32
        assert not [name for name in file.keys() if "num_batches" in name]  # noqa: SIM118  # no mapping


def test_training_on_from_a_file_leaves_the_file_alone(weights):
    before = weights.read_bytes()
    network, _ = checkpoint.read(weights)

    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.add_(1)

    assert weights.read_bytes() == before


@pytest.mark.parametrize("field", list(checkpoint.Header.model_fields))
def test_a_header_that_lacks_a_field_is_refused_with_its_name(weights, field):
    rewrite(weights, lambda metadata, tensors: metadata.pop(field))

    with pytest.raises(ModelError, match=rf"tiny\.safetensors' lacks the field '{field}'"):
        checkpoint.read(weights)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("format", "framehook-age-gender-1", "should be 'framehook-age-gender-2'"),
        ("architecture", "resnet19", r"want one of recognition, resnet, .*; did you mean 'resnet18'\?"),
        ("options", '{"width": "many"}', "option 'width' got 'many'"),
        ("options", '{"width": 10000000000}', "does not fit"),
        ("options", '{"height": 4}', "has no option 'height'"),
        ("options", '{"outputs": 4}', "a field of their own"),
        ("input_size", "8", "greater than or equal to 32"),
        ("colour", "BGR", "should be 'RGB' or 'grey'"),
        ("colour", "grey", "want 1 for the colour grey, got 3"),
        ("mean", "[0.5, 0.5]", "want 3 for the colour RGB, got 2"),
        ("mean", "[0.5, NaN, 0.5]", "finite number"),
        ("std", "not JSON", "expecting value"),
        ("std", "[0.2, 0, 0.2]", "greater than 0"),
        ("crop_margin", "-1", "greater than -1"),
        ("crop_border", "black", "should be 'edge' or 'white'"),
        ("outputs", '{"age": {"kind": "value", "std": 5}}', r"lacks the field 'outputs\.gender'"),
        ("outputs", '{"age": {"kind": "guess"}, "gender": {"kind": "logit"}}', "'guess'"),
        ("age_range", "[1]", r"lacks the field 'age_range\.1'"),
        ("metrics", "[]", "valid dictionary"),
    ],
)
def test_a_header_with_a_bad_value_is_refused_with_its_field(weights, field, value, why):
    rewrite(weights, lambda metadata, tensors: metadata.update({field: value}))

    with pytest.raises(ModelError, match=why) as raised:
        checkpoint.read(weights)
    assert "tiny.safetensors'" in str(raised.value)
    assert field in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"input_size": "48"}, "has 48 in its field 'input_size', its network 'twobranch' with its 'options' wants 36"),
        ({"options": "{}"}, "has 36 in its field 'input_size', its network 'twobranch' with its 'options' wants 64"),
        (
            {"colour": "RGB", "mean": "[0,0,0]", "std": "[1,1,1]"},
            "has 'RGB' in its field 'colour', its network 'twobranch' wants 'grey'",
        ),
    ],
    ids=["size", "no size", "colour"],
)
def test_an_input_that_the_network_does_not_take_is_refused(small_header, small_network, tmp_path, changes, why):
    header = small_header("twobranch")
    path = tmp_path / "grey.safetensors"
    checkpoint.write(path, small_network(header), header)
    rewrite(path, lambda metadata, tensors: metadata.update(changes))

    with pytest.raises(ModelError, match=rf"grey\.safetensors' {why}"):
        checkpoint.read(path)


@pytest.mark.parametrize("claimed", ["resnet34", "vgg16", "separable"])
def test_a_file_of_another_architecture_is_refused(weights, claimed):
    rewrite(weights, lambda metadata, tensors: metadata.update(architecture=claimed))

    with pytest.raises(ModelError, match=r"tiny\.safetensors' (lacks the tensor '.*'|has '.*' of shape)"):
        checkpoint.read(weights)


def test_a_file_with_more_tensors_than_its_network_is_refused(small_header, small_network, tmp_path):
    header = small_header("resnet34", options={"width": 4})
    path = tmp_path / "deep.safetensors"
    checkpoint.write(path, small_network(header), header)
    rewrite(path, lambda metadata, tensors: metadata.update(architecture="resnet18"))

    with pytest.raises(ModelError, match=r"deep\.safetensors' has a tensor 'stages\.0\.2\.body\.0\.weight' too many"):
        checkpoint.read(path)


def test_a_file_without_a_tensor_is_refused_with_its_name(weights):
    rewrite(weights, lambda metadata, tensors: tensors.pop("age.weight"))

    with pytest.raises(ModelError, match=r"tiny\.safetensors' lacks the tensor 'age\.weight'"):
        checkpoint.read(weights)


@pytest.mark.parametrize(
    "change",
    [
        lambda metadata, tensors: tensors.update({"age.bias": torch.zeros(7)}),
        lambda metadata, tensors: metadata.update(
            outputs=json.dumps({"age": {"kind": "distribution", "last": 9}, "gender": {"kind": "logit"}})
        ),
        lambda metadata, tensors: metadata.update(options='{"width": 8}'),
    ],
    ids=["tensor", "outputs", "width"],
)
def test_a_tensor_of_another_shape_is_refused_with_its_name(weights, change):
    rewrite(weights, change)

    with pytest.raises(ModelError, match=r"tiny\.safetensors' has '[a-z0-9.]+' of shape \(.*\), want \("):
        checkpoint.read(weights)


def test_a_file_with_a_weight_that_is_no_number_is_refused(weights):
    rewrite(weights, lambda metadata, tensors: tensors["age.bias"].fill_(torch.nan))

    with pytest.raises(ModelError, match=r"tiny\.safetensors' has numbers in 'age\.bias' that are not finite"):
        checkpoint.read(weights)


def test_a_truncated_file_is_refused(weights):
    weights.write_bytes(weights.read_bytes()[:-100])

    with pytest.raises(ModelError, match=r"tiny\.safetensors' cannot be read"):
        checkpoint.read(weights)


def test_a_file_that_is_no_safetensors_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_text("hello, I am a pickle")

    with pytest.raises(ModelError, match=r"weights\.safetensors' cannot be read as a safetensors file"):
        checkpoint.read_header(path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e5], ids=["NaN", "infinite", "beyond float16"])
def test_a_weight_that_is_no_number_is_not_written(small_header, small_network, tmp_path, value):
    header = small_header("resnet18")
    network = small_network(header)
    with torch.no_grad():
        network.stages[1][0].body[0].weight[0, 0, 0, 0] = value

    with pytest.raises(ModelError, match=r"numbers in 'stages\.1\.0\.body\.0\.weight' that are not finite or too large"):
        checkpoint.write(tmp_path / "model.safetensors", network, header)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_is_not_what_the_header_says_is_not_written(small_header, small_network, tmp_path):
    network = small_network(small_header("resnet18"))

    with pytest.raises(ModelError, match=r"'stem\.0\.weight' of shape \(2, 3, 3, 3\), want \(4, 3, 3, 3\)"):
        checkpoint.write(tmp_path / "model.safetensors", network, small_header("resnet18", options={"width": 8}))


def test_what_stood_there_stays_where_writing_fails(small_header, small_network, weights):
    header = small_header("resnet18")
    (weights.parent / "tiny.safetensors.part").mkdir()  # so that nothing can be written under that name
    before = weights.read_bytes()

    with pytest.raises(OutputError, match=r"tiny\.safetensors' cannot be written: "):
        checkpoint.write(weights, small_network(header, seed=1), header)
    assert weights.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="has no such modes")
def test_others_may_read_a_weights_file_as_far_as_the_user_lets_them(small_header, small_network, tmp_path):
    header = small_header("resnet18")
    before = os.umask(0o027)
    try:
        checkpoint.write(tmp_path / "model.safetensors", small_network(header), header)
    finally:
        os.umask(before)

    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o640


def test_a_folder_that_is_not_there_is_told(small_header, small_network, tmp_path):
    header = small_header("resnet18")

    with pytest.raises(OutputError, match=r"nowhere/model\.safetensors' cannot be written"):
        checkpoint.write(tmp_path / "nowhere" / "model.safetensors", small_network(header), header)
