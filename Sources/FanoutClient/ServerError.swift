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
