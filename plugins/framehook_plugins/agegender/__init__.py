"""Apparent age and gender of faces: the classifier `age-gender`."""

from framehook import Register, hookimpl


@hookimpl
def framehook_register_classifiers(register: Register) -> None:
    """Offer `age-gender`."""
    from framehook_plugins.agegender.classifier import AgeGenderClassifier

    register("age-gender", AgeGenderClassifier)
