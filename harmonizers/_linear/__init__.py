"""The algebra that the ComBat family shares: design, moments, estimates, empirical Bayes.

Symbols as in Johnson, Li and Rabinovic (Biostatistics 2007) and Fortin et al. (NeuroImage 2017):
feature j of person k in batch i is

    y_ijk = alpha_j + w_ik beta_j + sigma_j (gamma_ij + delta_ij^(1/2) e_ijk)
"""
