output "lake" {
  description = "bucket of the lake"
  value       = aws_s3_bucket.lake.bucket
}

output "images" {
  description = "registry addresses, for the overlay"
  value       = { for name, repository in aws_ecr_repository.image : name => repository.repository_url }
}

output "database" {
  description = "address of PostgreSQL"
  value       = aws_db_instance.main.endpoint
}
