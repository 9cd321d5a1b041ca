//! The clipsieve models: V-JEPA 2, YOLOv8, heads, weights and pools, on libtorch.
