"""The life of images and containers on top of the runtime, the registry and the network.

Ring 1: records, launch, monitor, containers, modes. Ring 2 (trio): loop, images.
"""
