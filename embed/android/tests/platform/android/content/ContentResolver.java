package android.content;

public class ContentResolver {
    public java.io.OutputStream openOutputStream(android.net.Uri uri) throws java.io.FileNotFoundException { throw new UnsupportedOperationException(); }
}
