# Draft: `npm run release` prints the two values that a published tarball has.
class Autodj < Formula
  desc "Moves an Auto-DJ library to S3 behind CloudFront, and proves it"
  homepage "HOMEPAGE"
  url "TARBALL"
  sha256 "SHA256"
  license "AGPL-3.0-or-later"

  depends_on "node"
  depends_on "ffmpeg" => :recommended

  def install
    system "npm", "install", *std_npm_args
    bin.install_symlink libexec.glob("bin/*")
    man1.install_symlink libexec.glob("lib/node_modules/autodj/dist/man/*.1")
    generate_completions_from_executable(bin/"autodj", "completion", shells: [:bash, :zsh, :fish])
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/autodj --version")
    assert_match "13 tracks", shell_output("#{bin}/autodj demo 2>&1")
  end
end
