/// The folder that holds a server's sockets.

import Glibc

/// Finds the folder; the server and its clients look in the same place.
public enum RuntimeDirectory {
    /// `$XDG_RUNTIME_DIR/fanout`, else `/run/fanout` for root, else `fanout-$UID` in the temporary directory
    /// (`$TMPDIR`, else `/tmp`). Variables that are not absolute paths are ignored, as the XDG base directory
    /// specification asks.
    public static func standard() -> String {
        standard(user: getuid()) { name in getenv(name).map { String(cString: $0) } }
    }

    /// The same for a given user and environment.
    package static func standard(user: UInt32, environment: (String) -> String?) -> String {
        func folder(_ name: String) -> String? {
            guard var path = environment(name), path.hasPrefix("/") else { return nil }
            while path.hasSuffix("/") { path.removeLast() }
            return path
        }
        if let base = folder("XDG_RUNTIME_DIR"), !base.isEmpty { return base + "/fanout" }
        if user == 0 { return "/run/fanout" }
        return (folder("TMPDIR") ?? "/tmp") + "/fanout-\(user)"
    }
}
