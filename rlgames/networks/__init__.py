"""Networks and what computes them: encoders and heads, LSTM, optimizers, precision, threads. torch.nn lives here."""
