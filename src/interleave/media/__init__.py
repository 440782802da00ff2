"""Files to pictures: images, videos and the squares of pixels that a vision encoder takes."""
