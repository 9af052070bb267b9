"""What the machine is told: commands, the program that holds them, its verifier and its text form."""
