import Testing

@Test("the test bundle loads")
func bundleLoads() {}
