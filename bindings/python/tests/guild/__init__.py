"""Where the spec `test_guild.yaml`, which is Rustic AI's own, finds its agent's class."""
