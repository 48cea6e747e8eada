"""What image methods share: going through a site's images, and steps of registered ones."""
