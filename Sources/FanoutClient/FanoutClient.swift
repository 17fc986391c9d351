// FanoutClient
