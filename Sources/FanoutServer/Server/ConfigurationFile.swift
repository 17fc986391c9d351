/// The configuration file: JSON, every fault named with its place.

import Glibc
import Wire

/// Something wrong in a configuration file.
package struct ConfigurationFault: Error, Equatable, Sendable, CustomStringConvertible {
    /// The file as it was named.
    package let file: String
    /// Where in it; nil where the file as a whole cannot be read.
    package let place: TextPlace?
    /// What is wrong there, and what would be right.
    package let message: String

    /// `FILE:LINE:COLUMN: message`.
    package var description: String {
        if let place { "\(file):\(place): \(message)" } else { "\(file): \(message)" }
    }
}

/// Reads configuration files.
package enum ConfigurationFile {
    /// The largest file accepted: a megabyte, which holds thousands of channels.
    package static let bytesMax = 1 << 20

    /// Why a file cannot be read while a server runs, which must not wait for it: a pipe could stop it for ever. Nil
    /// where it can.
    package static func complaint(aboutReadingAgain path: String) -> String? {
        var status = stat()
        guard stat(path, &status) == 0 else { return "\(path): cannot be read: \(String(cString: strerror(errno)))" }
        return status.st_mode & S_IFMT == S_IFREG ? nil : "\(path): is not a regular file, and cannot be read again"
    }

    /// Reads a file. The configuration holds what could be understood; it is right exactly when `faults` is empty.
    package static func read(_ path: String) -> (configuration: Configuration, faults: [ConfigurationFault]) {
        do throws(ConfigurationFault) {
            return parse(try contents(of: path), named: path)
        } catch {
            return (Configuration(), [error])
        }
    }

    /// Reads the text of a file. The faults stand in the order of their places; after a syntax error there is only that
    /// one.
    package static func parse(
        _ text: [UInt8], named file: String
    ) -> (configuration: Configuration, faults: [ConfigurationFault]) {
        var reader = ConfigurationReader()
        reader.file = file
        do throws(EventFault) {
            reader.read(try JSONTree.parse(text.span))
        } catch {
            reader.fault(error.offset, syntaxMessage(error, in: text))
        }
        var faults = reader.faults.sorted { $0.offset < $1.offset }.map {
            ConfigurationFault(file: file, place: TextPlace(of: $0.offset, in: text.span), message: $0.message)
        }
        // What is wrong in files that this one names comes behind what is wrong in itself.
        // Channels that share a file share its faults.
        for fault in reader.schemaFaults where !faults.contains(fault) { faults.append(fault) }
        return (reader.configuration, faults)
    }

    static func syntaxMessage(_ fault: EventFault, in text: [UInt8]) -> String {
        switch fault.code {
        case .tooDeep: return "objects and lists may be nested \(JSONTree.depthMax) deep at most"
        case .invalidUTF8: return "\(fault.message)"
        default: break
        }
        guard fault.offset < text.count else { return "not valid JSON: the file ends too early" }
        let byte = text[fault.offset]
        let advice =
            switch byte {
            case UInt8(ascii: "/"), UInt8(ascii: "#"): ": JSON has no comments"
            case UInt8(ascii: "}"), UInt8(ascii: "]"): ": is there a comma too many before it?"
            case UInt8(ascii: "'"): ": strings stand between double quotes"
            default: ""
            }
        let shown = byte > 0x20 && byte < 0x7F ? "'\(Character(Unicode.Scalar(byte)))'" : "byte \(byte)"
        return "not valid JSON at \(shown)\(advice)"
    }

    static func contents(of path: String) throws(ConfigurationFault) -> [UInt8] {
        func fault(_ message: String) -> ConfigurationFault {
            ConfigurationFault(file: path, place: nil, message: message)
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw fault("cannot be read: \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw fault("cannot be read: \(String(cString: strerror(errno)))") }
            if count == 0 { return text }
            text += buffer[..<count]
            guard text.count <= bytesMax else { throw fault("has more than \(bytesMax) bytes") }
        }
    }
}
