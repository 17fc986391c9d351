// HostEvents
