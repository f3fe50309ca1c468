package android.content;

public abstract class Context {
    public String getPackageName() { throw new UnsupportedOperationException(); }
    public java.io.File getCacheDir() { throw new UnsupportedOperationException(); }
    public java.io.File getFilesDir() { throw new UnsupportedOperationException(); }
    public java.io.File getExternalFilesDir(String type) { throw new UnsupportedOperationException(); }
    public android.content.res.AssetManager getAssets() { throw new UnsupportedOperationException(); }
    public ContentResolver getContentResolver() { throw new UnsupportedOperationException(); }
    public final String getString(int id) { throw new UnsupportedOperationException(); }
    public final String getString(int id, Object... arguments) { throw new UnsupportedOperationException(); }
    public void startActivity(Intent intent) { throw new UnsupportedOperationException(); }
}
