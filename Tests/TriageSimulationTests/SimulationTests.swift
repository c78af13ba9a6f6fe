// A few seeds of the simulation with every test run: those that once broke a promise, and that the
// same seed is the same run.

import Simulation
import Testing

@Suite struct SimulationTests {
    @Test func theSameSeed_isTheSameRun() {
        let first = Simulation.run(seed: 7)
        #expect(first.violation == nil)
        #expect(Simulation.run(seed: 7).hash == first.hash)
        #expect(Simulation.run(seed: 8).hash != first.hash)
    }
}
