/// A server for one test: a listening socket and a script for each connection.

import Foundation
import FanoutClient
import Glibc
import Testing

/// Runs `script` once per connection, one after the other, on a thread of its own.
final class TinyServer: Sendable {
    /// One accepted connection; every wait ends after ten seconds.
    struct Connection {
        let descriptor: Int32

        func send(_ text: String) {
            let bytes = Array(text.utf8)
            var done = 0
            while done < bytes.count {
                let count = bytes.withUnsafeBytes {
                    Glibc.send(descriptor, $0.baseAddress! + done, bytes.count - done, Int32(MSG_NOSIGNAL))
                }
                if count <= 0 { return }
                done += count
            }
        }

        /// Reads up to and including `end`; nil when the other end closes or keeps silent first.
        func receive(until end: String) -> String? {
            var bytes: [UInt8] = []
            while !String(decoding: bytes, as: UTF8.self).hasSuffix(end) {
                var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                guard poll(&wait, 1, 10_000) > 0 else { return nil }
                var byte: UInt8 = 0
                guard read(descriptor, &byte, 1) == 1 else { return nil }
                bytes.append(byte)
            }
            return String(decoding: bytes, as: UTF8.self)
        }

        func receiveLine() -> String? { receive(until: "\n").map { String($0.dropLast()) } }

        /// The head and the body, as long as Content-Length says.
        func receiveRequest() -> (head: String, body: String)? {
            guard let head = receive(until: "\r\n\r\n") else { return nil }
            let length =
                head.split(separator: "\r\n").first { $0.hasPrefix("Content-Length: ") }
                .flatMap { Int($0.dropFirst(16)) } ?? 0
            var body = [UInt8](repeating: 0, count: length)
            var done = 0
            while done < length {
                let count = body.withUnsafeMutableBytes { read(descriptor, $0.baseAddress! + done, length - done) }
                if count <= 0 { return nil }
                done += count
            }
            return (head, String(decoding: body, as: UTF8.self))
        }

        func answer(_ status: String, _ body: String, type: String = "application/json") {
            send("HTTP/1.1 \(status)\r\nContent-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
        }
    }

    let endpoint: Endpoint
    /// The listener where no thread has it.
    private let idle: Int32?
    private let path: String?

    /// Listens on a unix socket, or on a free port of 127.0.0.1.
    init(http: Bool = false, _ scripts: [@Sendable (Connection) -> Void]) throws {
        let listener: Int32
        if http {
            listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    _ = bind(listener, $0, size)
                    _ = getsockname(listener, $0, &size)
                }
            }
            endpoint = try Endpoint(url: "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))")
            path = nil
        } else {
            let path = FileManager.default.temporaryDirectory.appending(path: "tiny-\(UUID().uuidString)").path
            listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    _ = bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            endpoint = .unix(path: path)
            self.path = path
        }
        idle = scripts.isEmpty ? listener : nil
        try #require(listen(listener, 16) == 0)
        if scripts.isEmpty { return }
        Thread.detachNewThread {
            defer { close(listener) }
            for script in scripts {
                var wait = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
                guard poll(&wait, 1, 10_000) > 0 else { return }
                let descriptor = accept(listener, nil, nil)
                guard descriptor >= 0 else { return }
                script(Connection(descriptor: descriptor))
                close(descriptor)
            }
        }
    }

    deinit {
        if let idle { close(idle) }
        if let path { unlink(path) }
    }
}
