"""An image consortium with known truth: real anatomy, simulated scanners."""
