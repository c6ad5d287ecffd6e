"""How a container meets the network: drivers, published ports, and the files that name hosts."""
