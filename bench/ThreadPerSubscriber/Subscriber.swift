// One subscriber: its thread reads the request, says hello, then writes what its queue gets until either side ends.

import Glibc
import Wire

/// A connection with a thread of its own.
final class Subscriber: @unchecked Sendable {
    // Unchecked: the hub's lock guards `place` and `format`; the rest is the thread's own or never changes.
    let queue = EventQueue()
    private let hub: Hub
    private let socket: Int32
    /// Where the hub has it; nil when it does not.
    var place: Int?
    var format = WireFormat.jsonl

    init(_ hub: Hub, _ socket: Int32) {
        self.hub = hub
        self.socket = socket
    }

    /// The thread's work, from the first byte to the last. A reader that leaves is noticed when it is written to.
    func run(speaksHTTP: Bool) {
        var opening: [UInt8] = []
        var format = WireFormat.jsonl
        if speaksHTTP {
            guard let wanted = readRequest(answer: &opening) else {
                _ = opening.withUnsafeBytes { writeAll($0) }
                close(socket)
                return
            }
            format = wanted
        }
        opening += hub.add(self, format)
        if opening.withUnsafeBytes({ writeAll($0) }) { writeEvents() }
        hub.remove(self)
        close(socket)
    }

    /// Ends the thread's work from another thread: what waits, in the queue or in a write, stops.
    func drop() {
        queue.close()
        shutdown(socket, Int32(SHUT_RDWR))
    }

    private func writeEvents() {
        let most = hub.gathers ? EventQueue.capacity : 1
        var taken: [EventBytes] = []
        var pieces: [iovec] = []
        while true {
            queue.take(most, into: &taken)
            if taken.isEmpty { return }
            if taken.count == 1 {
                guard writeAll(UnsafeRawBufferPointer(taken[0].bytes)) else { return }
                continue
            }
            pieces.removeAll(keepingCapacity: true)
            for event in taken { pieces.append(iovec(iov_base: event.bytes.baseAddress, iov_len: event.bytes.count)) }
            guard writeAll(&pieces) else { return }
        }
    }

    /// False when the peer is gone or takes nothing for `writeTimeoutSeconds`.
    private func writeAll(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = write(socket, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if count < 0, errno != EINTR { return false }
            if count > 0 { rest = rest.dropFirst(count) }
        }
        return true
    }

    private func writeAll(_ pieces: inout [iovec]) -> Bool {
        var first = 0
        while first < pieces.count {
            var count = pieces.withUnsafeBufferPointer {
                writev(socket, $0.baseAddress.map { $0 + first }, Int32($0.count - first))
            }
            if count < 0, errno != EINTR { return false }
            while count > 0 {
                if count >= pieces[first].iov_len {
                    count -= pieces[first].iov_len
                    first += 1
                } else {
                    pieces[first].iov_base += count
                    pieces[first].iov_len -= count
                    count = 0
                }
            }
        }
        return true
    }

    /// Reads a request's head; what it wants, or nil where `answer` is all that it gets.
    private func readRequest(answer: inout [UInt8]) -> WireFormat? {
        let limits = HTTPLimits()
        var head: [UInt8] = []
        var framer = HTTPHeadFramer()
        var piece = [UInt8](repeating: 0, count: 4096)
        do throws(HTTPFault) {
            while true {
                let count = recv(socket, &piece, piece.count, 0)
                if count <= 0 { return nil }
                head += piece[..<count]
                guard let length = try framer.scan(head.span, limits: limits) else { continue }
                let bytes = head.span.extracting(..<length)
                let request = try HTTPRequestHead.parse(bytes, limits: limits)
                if request.wantsWebSocket {
                    let key = try WebSocketHandshake.check(request, bytes)
                    HTTPResponse.appendWebSocketUpgrade(
                        key: bytes.extracting(Int(key.start)..<Int(key.end)), to: &answer)
                    return .webSocket
                }
                let accept = request.accept
                let isSSE = accept.map { MediaType.isAccepted(bytes, $0, "text/event-stream") } ?? false
                HTTPResponse.appendStreamHead(
                    contentType: isSSE ? "text/event-stream" : "application/x-ndjson", to: &answer)
                return isSSE ? .sse : .jsonl
            }
        } catch {
            HTTPResponse.append(
                status: error.status, contentType: "text/plain", body: [], keepAlive: false, to: &answer)
            return nil
        }
    }
}
