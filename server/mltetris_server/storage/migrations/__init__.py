"""The history's migrations, run by ``storage.migrate`` when a data directory is opened."""
