// Runs many seeds of the simulation, or one of them to read along; Deploy/soak calls it.

import ArgumentParser

SimulationCommand.main()
