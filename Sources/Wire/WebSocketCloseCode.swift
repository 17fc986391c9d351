/// Which close codes may appear in a frame (RFC 6455 section 7.4, and the registry that it began).
package enum WebSocketCloseCode {
    /// True for the registered codes that are not reserved (1000-1003, 1007-1014) and for what libraries, frameworks
    /// and applications use (3000-4999). 1005, 1006 and 1015 describe ends without a frame.
    package static func mayBeSent(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}
