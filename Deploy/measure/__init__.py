"""What Deploy/bench measures with: the programs and servers, the load, the figures and their judge."""
