"""Methods that hide segments of the photo: ablation, Shapley values, and linear surrogates (LIME, kernel SHAP)."""
