"""What Deploy/bench measures with: programs, servers, load, figures and their judge."""
