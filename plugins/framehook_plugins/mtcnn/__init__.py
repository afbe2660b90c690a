"""Faces by MTCNN: the detector `mtcnn`."""

from framehook import Register, hookimpl


@hookimpl
def framehook_register_detectors(register: Register) -> None:
    """Offer the detector."""
    from framehook_plugins.mtcnn.detector import MtcnnDetector

    register("mtcnn", MtcnnDetector)
