"""The surface-emphasised crystal graph network (SEM-CGCNN): graphs, training, prediction."""
