"""Files to pictures: images, frames of videos, and the squares of pixels that a vision encoder takes."""
