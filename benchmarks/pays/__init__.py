"""Does it pay? What docs/break-even.md, docs/does-it-pay.md and docs/claims.md are made with."""
