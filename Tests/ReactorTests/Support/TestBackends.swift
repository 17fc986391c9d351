/// The backends that the suites run on.

import Testing

@testable import Reactor

/// A backend, as a test argument.
enum TestBackend: String, CaseIterable, Codable, Sendable, CustomTestStringConvertible {
    case epoll
    case uring = "io_uring"
    /// A fault-free simulated kernel; the `Peer`s of the test's thread are in it.
    case simulated = "simulation"
    /// The epoll backend on such a kernel.
    case simulatedEpoll = "simulation of epoll"

    var testDescription: String { rawValue }

    /// The backends that work here. io_uring is left out, with a line that says why, where the kernel refuses it.
    static let available: [TestBackend] = {
        var configuration = LoopConfiguration()
        configuration.backend = .uring
        do throws(SystemError) {
            _ = try EventLoop(configuration)
            return [.epoll, .uring]
        } catch {
            print("ReactorTests: skipped for io_uring: \(error)")
            return [.epoll]
        }
    }()

    /// The simulation too: for tests that use nothing of the machine but `Peer`s.
    static let everywhere = available + [.simulated, .simulatedEpoll]

    /// A loop on this backend.
    func makeLoop(_ adjust: (inout LoopConfiguration) -> Void = { _ in }) throws -> EventLoop {
        var configuration = LoopConfiguration()
        configuration.socketsMax = 8192
        adjust(&configuration)
        Peer.world = nil
        switch self {
        case .epoll: configuration.backend = .epoll
        case .uring: configuration.backend = .uring
        case .simulated, .simulatedEpoll:
            var limits = SimulatedKernel.Limits()
            limits.receiveBufferCount = configuration.receiveBufferCount
            limits.receiveBufferBytes = configuration.receiveBufferBytes
            let kernel = SimulatedKernel(seed: 1, limits: limits)
            Peer.world = kernel
            configuration.backend = self == .simulated ? .simulated(kernel) : .simulatedEpoll(kernel)
        }
        return try EventLoop(configuration)
    }
}
