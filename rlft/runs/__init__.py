"""What is known of training runs from their folders, without torch or Lightning."""
