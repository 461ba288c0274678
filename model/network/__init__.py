"""SEM-CGCNN: the network, its convolutions and their compiled kernels."""
