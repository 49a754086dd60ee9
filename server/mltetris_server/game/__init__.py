"""The rules of Tetris: compiled engine, features, Gymnasium environments."""
