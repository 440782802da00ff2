"""Cameras at known places."""

import numpy as np
from interleave_plugins.scenes.cameras import pinhole
from interleave_plugins.scenes.view import Camera, Matrix


def camera(width: int = 8, height: int = 4, focal: float = 4.0) -> Camera:
    """A camera at the origin that looks along z. All in pixels."""
    return Camera(np.eye(4), pinhole(focal, focal, width / 2, height / 2), width, height)


def moved(position: tuple[float, float, float], angle: float = 0.0) -> Matrix:
    """(4, 4) a camera-to-world pose that is turned about y by ``angle`` radians, and then moved to ``position``."""
    pose = np.eye(4)
    pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    pose[:3, 3] = position
    return pose
