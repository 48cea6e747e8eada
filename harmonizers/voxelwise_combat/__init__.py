"""Voxelwise ComBat: ComBat on the voxels of registered images."""

from motet.harmonizers.voxelwise_combat.method import VoxelwiseComBat

HARMONIZER = VoxelwiseComBat()
