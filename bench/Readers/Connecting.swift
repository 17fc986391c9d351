// The connect phase: a few at a time, so that no listener's backlog overflows, and what each connection says first.

import CLinux
import ClientSockets
import Glibc

extension Checker {
    /// Opens some more connections, unless too many have not had their `$hello` yet.
    func connectSome() throws(Refusal) {
        var left = Self.connectsPerTurn
        while nextToConnect < readerCount, readersSettling < Self.settlingReadersMax, left > 0 {
            left -= 1
            let endpoint = self.endpoint(of: readers[nextToConnect].transport)
            switch openConnection(to: endpoint, source: sourceAddress(of: nextToConnect, to: endpoint)) {
            case .connected(let descriptor):
                enter(nextToConnect, descriptor)
                connected(nextToConnect)
            case .inProgress(let descriptor):
                enter(nextToConnect, descriptor)
            case .tryLater: return
            case .failed(let code):
                let name = readers[nextToConnect].transport.name
                throw .unavailable("reader \(nextToConnect) (\(name)) cannot connect: \(errorText(code))")
            }
            nextToConnect += 1
        }
    }

    private func endpoint(of transport: Transport) -> Destination {
        switch transport {
        case .unix: .unix(options.unixPath!)
        case .tcp: options.tcp!
        case .ndjson, .sse, .ws: options.http!
        }
    }

    private func enter(_ index: Int, _ descriptor: Int32) {
        readers[index].descriptor = descriptor
        readers[index].phase = .connecting
        readersSettling += 1
        readersLive += 1
        watch(index, EPOLLOUT.rawValue, EPOLL_CTL_ADD)
    }

    private func watch(_ index: Int, _ events: UInt32, _ operation: Int32) {
        var event = epoll_event()
        event.events = events
        event.data.u64 = UInt64(index)
        epoll_ctl(epoll, operation, readers[index].descriptor, &event)
    }

    /// A connection stands: says what it wants.
    func connected(_ index: Int) {
        let code = pendingError(readers[index].descriptor)
        if code != 0 {
            drop(index, "cannot connect: \(errorText(code))")
            return
        }
        watch(index, EPOLLIN.rawValue | EPOLLRDHUP.rawValue, EPOLL_CTL_MOD)
        readers[index].phase = readers[index].transport.isHTTP ? .head : .hello
        let words = Array(opening(readers[index]).utf8)
        if words.isEmpty { return }
        if send(readers[index].descriptor, words, words.count, 0) != words.count {
            drop(index, "the request could not be sent at once")
        }
    }

    private func opening(_ reader: Reader) -> String {
        let byTypes = options.filter == .types
        let channel = options.channels[reader.isFiltered ? Int(reader.stream) : 0]
        guard reader.transport.isHTTP else {
            if !reader.isFiltered { return "" }
            let wish = byTypes ? "\"types\":[\"bench.\(reader.stream)\"]" : "\"channel\":[\"\(channel)\"]"
            return "{\"$subscribe\":{\(wish)}}\n"
        }
        let query = !reader.isFiltered ? "" : byTypes ? "?types=bench.\(reader.stream)" : "?channel=\(channel)"
        var head = "GET /v1/events\(query) HTTP/1.1\r\nHost: \(options.http!.hostField)\r\n"
        switch reader.transport {
        case .sse: head += "Accept: text/event-stream\r\n"
        case .ws:
            head += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            head += "Sec-WebSocket-Key: \(ResponseHead.webSocketKey)\r\n"
        default: head += "Accept: application/x-ndjson\r\n"
        }
        return head + "\r\n"
    }

    /// Takes an HTTP response's head; its length, nil while it is incomplete or when it was refused.
    func takeHead(_ index: Int, _ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int? {
        guard let length = ResponseHead.length(bytes, count) else { return nil }
        guard let head = ResponseHead(bytes, length) else {
            drop(index, "a malformed response head: \(excerpt(bytes, length))")
            return nil
        }
        if let text = head.fault(for: readers[index].transport) {
            drop(index, "\(text): \(excerpt(bytes, count))")
            return nil
        }
        readers[index].phase = .hello
        return length
    }
}
