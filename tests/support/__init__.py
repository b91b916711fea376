"""What several tests share: masks, real volumes, exact comparison."""
