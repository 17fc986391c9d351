/// The other end of a connection: plain system calls, no part of the reactor.

import CLinux
import Foundation
import Glibc
import Synchronization

@testable import Reactor

/// The two kinds of stream sockets.
enum Transport: String, CaseIterable, Sendable {
    case tcp, unix

    private static let number = Atomic<Int>(0)

    /// An address that nobody uses.
    func address() -> SocketAddress {
        switch self {
        case .tcp: return .loopback(port: 0)
        case .unix:
            let number = Transport.number.add(1, ordering: .relaxed).newValue
            return .unix(path: "\(temporaryFolder)/s\(number)")
        }
    }
}

/// A folder of this test process.
let temporaryFolder: String = {
    var template = Array("/tmp/reactor-tests-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { fatalError("no temporary folder") }
    return String(cString: made)
}()

/// A nonblocking client socket, or a peer in the simulated kernel that the thread's test made last.
final class Peer {
    struct Refused: Error { let errno: Int32 }

    /// The simulated kernel of the test that runs on this thread; nil where the backend is real. Tests that use it do
    /// not leave their thread.
    static var world: SimulatedKernel? {
        get { Thread.current.threadDictionary["simulated kernel"] as? SimulatedKernel }
        set { Thread.current.threadDictionary["simulated kernel"] = newValue }
    }

    private(set) var descriptor: Int32
    private var simulated: (kernel: SimulatedKernel, peer: SimulatedPeer)?
    /// True once a read has found the end of the stream.
    private(set) var isAtEnd = false
    /// The error that a read has met, or 0.
    private(set) var error: Int32 = 0

    init(connectingTo address: SocketAddress, receiveBufferBytes: Int32? = nil) throws {
        if let world = Peer.world {
            descriptor = -1
            guard let peer = world.connect(to: address) else { throw Refused(errno: ECONNREFUSED) }
            simulated = (world, peer)
            return
        }
        let (storage, length) = try LinuxSockets.encode(address)
        descriptor = linux_socket(Int32(storage.ss_family))
        if descriptor < 0 { throw Refused(errno: -descriptor) }
        if let receiveBufferBytes { _ = linux_set_option(descriptor, SOL_SOCKET, SO_RCVBUF, receiveBufferBytes) }
        let outcome = withUnsafePointer(to: storage) { linux_connect(descriptor, $0, length) }
        // This object is complete, so its deinit closes the descriptor. A second close would hit what a test on another
        // thread has opened under the same number since.
        if outcome < 0 { throw Refused(errno: -outcome) }
        _ = linux_set_nonblocking(descriptor, 1)
    }

    deinit {
        close()
    }

    /// Writes what the socket takes; the count.
    @discardableResult
    func write(_ bytes: [UInt8]) -> Int {
        if let (kernel, peer) = simulated { return kernel.peerWrite(peer, bytes) }
        return Int(bytes.withUnsafeBytes { linux_send(descriptor, $0.baseAddress, $0.count) })
    }

    func write(_ text: String) { write(Array(text.utf8)) }

    /// Writes text with a descriptor beside it (SCM_RIGHTS of unix(7)); only where the backend is real.
    func pass(descriptor passed: Int32, with text: String) throws {
        var bytes = Array(text.utf8)
        // struct cmsghdr, the descriptor, and what rounds it up to whole words.
        let control = UnsafeMutableRawBufferPointer.allocate(byteCount: 24, alignment: 8)
        defer { control.deallocate() }
        control.storeBytes(of: 20, as: Int.self)
        control.storeBytes(of: SOL_SOCKET, toByteOffset: 8, as: Int32.self)
        control.storeBytes(of: 1, toByteOffset: 12, as: Int32.self)  // SCM_RIGHTS
        control.storeBytes(of: passed, toByteOffset: 16, as: Int32.self)
        let sent = bytes.withUnsafeMutableBytes { bytes in
            var piece = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
            return withUnsafeMutablePointer(to: &piece) { piece in
                var message = msghdr()
                message.msg_iov = piece
                message.msg_iovlen = 1
                message.msg_control = control.baseAddress
                message.msg_controllen = control.count
                return sendmsg(descriptor, &message, 0)
            }
        }
        if sent != bytes.count { throw Refused(errno: errno) }
    }

    /// Writes text whose last byte is urgent (MSG_OOB of tcp(7)); only where the backend is real.
    func writeUrgent(_ text: String) throws {
        let bytes = Array(text.utf8)
        if send(descriptor, bytes, bytes.count, Int32(MSG_OOB)) != bytes.count { throw Refused(errno: errno) }
    }

    /// Reads what is there, at most `countMax` bytes.
    func read(_ countMax: Int = .max) -> [UInt8] {
        if let (kernel, peer) = simulated {
            let all = kernel.peerRead(peer, max: countMax)
            if kernel.peerAtEnd(peer) {
                if kernel.peerWasReset(peer) { error = ECONNRESET } else { isAtEnd = true }
            }
            return all
        }
        var all: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while all.count < countMax, error == 0 {
            let count = linux_receive(descriptor, &piece, min(piece.count, countMax - all.count))
            if count == 0 { isAtEnd = true }
            if count < 0, count != -Int64(EAGAIN) { error = Int32(-count) }
            if count <= 0 { break }
            all += piece[..<Int(count)]
        }
        return all
    }

    func finish() {
        if let (kernel, peer) = simulated { return kernel.peerFinish(peer) }
        _ = linux_shutdown(descriptor, Int32(SHUT_WR))
    }

    func reset() {
        if let (kernel, peer) = simulated { return kernel.peerReset(peer) }
        _ = linux_reset_on_close(descriptor)
        close()
    }

    func close() {
        if let (kernel, peer) = simulated { return kernel.peerClose(peer) }
        if descriptor >= 0 { _ = linux_close(descriptor) }
        descriptor = -1
    }
}

/// Bytes that differ at every place, so that a lost or repeated piece shows.
func pattern(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    return (0..<count).map { _ in
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return UInt8(truncatingIfNeeded: state >> 24)
    }
}
