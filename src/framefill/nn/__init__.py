"""Networks: images and volumes in, predictions out."""
