/// The two ways in which a loop may meet a simulated kernel.

@testable import Reactor

/// A way to use a simulated kernel, as a test argument.
enum SimulatedFace: CaseIterable, Sendable {
    /// It completes operations.
    case completions
    /// It answers the system calls of the epoll backend.
    case epoll

    func backend(on kernel: SimulatedKernel) -> BackendChoice {
        switch self {
        case .completions: .simulated(kernel)
        case .epoll: .simulatedEpoll(kernel)
        }
    }

    /// Whether a fault can happen to such a loop.
    func has(_ fault: SimulatedFaults.Class) -> Bool {
        switch self {
        case .completions: fault.existsWithCompletions
        case .epoll: fault.existsWithEpoll
        }
    }
}
