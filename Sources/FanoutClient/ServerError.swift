/// The errors that servers send: `{"error":{"code":"…","message":"…"}}`.

import Wire

enum ServerError {
    /// The code and the message in `text`, nil where it is not such an object.
    static func parse(_ text: [UInt8]) -> (code: String, message: String)? {
        guard let tree = try? JSONTree.parse(text.span), let error = tree["error"], let code = error["code"]?.string
        else { return nil }
        return (code, error["message"]?.string ?? "")
    }

    /// What a response that is not a success means.
    static func refusal(status: Int, body: [UInt8], by endpoint: String) -> ClientError {
        guard let (code, message) = parse(body) else {
            return ClientError(
                .refused(code: "http_\(status)", status: status), "\(endpoint) answered HTTP \(status) without a reason"
            )
        }
        return ClientError(.refused(code: code, status: status), "\(code): \(message)")
    }
}

extension ClientError {
    /// Whether it is an answer after which the same may be asked again, because the server is not able to do it now and
    /// has not done it: its memory or its disk is full, or it is stopping.
    package var isRefusalForNow: Bool {
        guard case .refused(let code, let status) = kind else { return false }
        return status.map { $0 == 503 } ?? Self.codesForNow.contains(code)
    }

    /// What sockets, which give no status, answer where HTTP answers 503.
    private static let codesForNow: Set<String> = [
        "overload", "shutting_down", "storage_full", "storage_readonly", "too_many_channels",
    ]
}
