"""Controls: the strategies that every claim about takeovers is compared with."""
