// What the build files call of Gradle and its plugins, as far as they call it.
package stubs

class Settable {
    fun set(x: Any) {}
}

class Property(val x: String) {
    fun get() = x
}

class Providers {
    fun gradleProperty(name: String) = Property(name)
}

val providers = Providers()

class Plugin {
    infix fun version(x: String) = this
    infix fun apply(x: Boolean) = this
}

class Plugins {
    fun id(x: String) = Plugin()
}

fun plugins(f: Plugins.() -> Unit) {}

class Repositories {
    fun google() {}
    fun mavenCentral() {}
    fun gradlePluginPortal() {}
}

class Management {
    val repositoriesMode = Settable()
    fun repositories(f: Repositories.() -> Unit) {}
}

fun pluginManagement(f: Management.() -> Unit) {}
fun dependencyResolutionManagement(f: Management.() -> Unit) {}

enum class RepositoriesMode { FAIL_ON_PROJECT_REPOS }

class Root {
    var name = ""
}

val rootProject = Root()

fun include(x: String) {}
fun file(x: String) = java.io.File(x)

class CMake {
    val arguments = mutableListOf<String>()
    val targets = mutableSetOf<String>()
    var path: java.io.File? = null
    var version: String? = null
}

class Native {
    fun cmake(f: CMake.() -> Unit) {}
}

class Ndk {
    val abiFilters = mutableSetOf<String>()
}

class Defaults {
    var applicationId: String? = null
    var minSdk: Int? = null
    var targetSdk: Int? = null
    var versionCode: Int? = null
    var versionName: String? = null
    fun ndk(f: Ndk.() -> Unit) {}
    fun externalNativeBuild(f: Native.() -> Unit) {}
    fun resValue(a: String, b: String, c: String) {}
}

class Features {
    var resValues: Boolean? = null
}

class Build {
    fun proguardFiles(vararg x: Any) {}
}

class Builds {
    fun release(f: Build.() -> Unit) {}
}

class Resources {
    val noCompress = mutableListOf<String>()
}

class JniLibs {
    val pickFirsts = mutableSetOf<String>()
}

class Packaging {
    fun jniLibs(f: JniLibs.() -> Unit) {}
}

enum class JavaVersion { VERSION_17 }

class Options {
    var sourceCompatibility = JavaVersion.VERSION_17
    var targetCompatibility = JavaVersion.VERSION_17
}

class Android {
    var namespace: String? = null
    var compileSdk: Int? = null
    var ndkVersion = ""
    fun defaultConfig(f: Defaults.() -> Unit) {}
    fun buildFeatures(f: Features.() -> Unit) {}
    fun buildTypes(f: Builds.() -> Unit) {}
    fun externalNativeBuild(f: Native.() -> Unit) {}
    fun packaging(f: Packaging.() -> Unit) {}
    fun androidResources(f: Resources.() -> Unit) {}
    fun compileOptions(f: Options.() -> Unit) {}
    fun getDefaultProguardFile(x: String) = x
}

fun android(f: Android.() -> Unit) {}

class KotlinOptions {
    fun jvmToolchain(x: Int) {}
}

fun kotlin(f: KotlinOptions.() -> Unit) {}

class Dependencies {
    fun implementation(x: String) {}
}

fun dependencies(f: Dependencies.() -> Unit) {}
