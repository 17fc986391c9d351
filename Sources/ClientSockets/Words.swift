/// Numbers and bytes as people read them, and where they are written.

import Glibc

/// A number with three decimals (String(format:) belongs to Foundation); 0 for what is none.
package func decimal(_ value: Double) -> String {
    guard value.isFinite, abs(value) < 1e15 else { return "0.000" }
    let thousandths = Int((value * 1000).rounded())
    let rest = String(thousandths.magnitude % 1000)
    let sign = thousandths < 0 ? "-" : ""
    return "\(sign)\(thousandths.magnitude / 1000).\(String(repeating: "0", count: 3 - rest.count))\(rest)"
}

/// Writes text to a descriptor, whole; where nobody can read it, it is lost.
package func write(_ text: String, to descriptor: Int32) {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
        let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if count <= 0 { return }
        bytes = bytes.dropFirst(count)
    }
}

/// A short, printable piece of bytes for a fault's text.
package func excerpt(_ base: UnsafePointer<UInt8>, _ count: Int) -> String {
    var text = ""
    for place in 0..<min(count, 160) {
        let byte = base[place]
        switch byte {
        case 10: text += "\\n"
        case 13: text += "\\r"
        case 32..<127: text.unicodeScalars.append(Unicode.Scalar(byte))
        default: text += "\\x" + String(byte, radix: 16)
        }
    }
    return count > 160 ? text + "… (\(count) bytes)" : text
}
