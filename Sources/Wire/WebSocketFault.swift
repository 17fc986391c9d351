/// Why a WebSocket is ended by its server.
package struct WebSocketFault: Error, Equatable, Sendable {
    /// 1002 protocol, 1007 invalid UTF-8, 1008 policy, 1009 too big.
    package var closeCode: UInt16
    /// One sentence for the close frame, at most 123 bytes.
    package var reason: StaticString

    package init(closeCode: UInt16, reason: StaticString) {
        self.closeCode = closeCode
        self.reason = reason
    }

    package static func == (left: WebSocketFault, right: WebSocketFault) -> Bool {
        left.closeCode == right.closeCode && left.reason.description == right.reason.description
    }

    static func broken(_ reason: StaticString) -> WebSocketFault { WebSocketFault(closeCode: 1002, reason: reason) }
    static var notUTF8: WebSocketFault { WebSocketFault(closeCode: 1007, reason: "the text is not UTF-8") }
    static var tooBig: WebSocketFault { WebSocketFault(closeCode: 1009, reason: "the message is too big") }
    static var tooManyFragments: WebSocketFault {
        WebSocketFault(closeCode: 1008, reason: "the message has too many fragments")
    }
}
