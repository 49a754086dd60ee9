"""A bounded torture: random deaths under load, and a history that is compared with the promises."""
