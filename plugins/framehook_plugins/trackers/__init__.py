"""The tracker `iou`."""

from framehook import Register, hookimpl


@hookimpl
def framehook_register_trackers(register: Register) -> None:
    """Offer `iou`."""
    from framehook_plugins.trackers.iou import IouTracker

    register("iou", IouTracker)
