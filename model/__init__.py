"""The surface-emphasised crystal graph network (SEM-CGCNN); filled by later work."""
